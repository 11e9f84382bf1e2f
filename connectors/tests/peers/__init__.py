"""Far ends for tests, on loopback only: an OpenSSH server, a TCP proxy that cuts, an SFTP server that misbehaves."""

"""Wiring: settings, URLs, logging, and how the processes start."""

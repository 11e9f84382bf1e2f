"""How staff sign in: password, second factor, session, lock-out, and the confirmation that it is still the same person.

sealing        what the database keeps of a secret that it must not give away
models         authenticators, recovery codes, sessions
second_factor  enrol, verify, recover, remove
sessions       how long a session lives; the database knows only the hash of its key
lockout        guesses are counted, whatever is guessed
confirmation   "confirm it is you", before anything sensitive
pages, site    what people see of all this, and the admin that demands it
"""

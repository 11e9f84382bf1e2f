"""How fast it is, each time against a floor of the same run: python -m bench.<name>."""

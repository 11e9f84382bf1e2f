"""Who may do what: organisations, members, API keys and the audit trail."""

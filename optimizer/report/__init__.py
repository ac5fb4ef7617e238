"""Tables, accounts, files and pages: the only place that formats numbers."""

"""How events reach the service. Knows no session and no span: it takes encoded events and accounts for each."""

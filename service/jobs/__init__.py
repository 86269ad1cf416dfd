"""The use cases: what can be done with jobs and their results. Transactions live here."""

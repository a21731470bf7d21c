"""What dbt says: its artifacts, and its selection of nodes."""

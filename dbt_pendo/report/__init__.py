"""The report: what is known of the past, as one HTML file."""

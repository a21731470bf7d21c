"""What people, logs and scripts see; a file a command."""

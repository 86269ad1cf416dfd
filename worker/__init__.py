"""What trains: recipes that know no queue, and the jobs that run them."""

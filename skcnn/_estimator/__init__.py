"""What surrounds an estimator: its parameters, what it is given, and what it stores."""

"""How a network is trained: objective, solvers, schedules, epochs, and what follows each epoch."""

"""What is maximised and what it costs: objectives, goals, constraints, budget, history."""

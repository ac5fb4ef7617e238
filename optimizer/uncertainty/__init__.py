"""What is known when: decision nodes, recourse nodes, probabilities."""

"""What a chip can do: which pool may serve which stream, and at what throughput."""

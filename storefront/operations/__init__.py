"""What people who run the shop use. Optional: without this folder the shop still sells."""

"""What every room stands on: errors, registries, files, processes. Imports no other room."""

"""Encode, decode and sample millions of molecules: streams in, Parquet files out."""

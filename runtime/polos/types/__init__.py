"""The data types that programs exchange with the runtime."""

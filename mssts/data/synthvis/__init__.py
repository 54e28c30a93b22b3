"""SynthVIS, the generated dataset."""

"""What a robot installs to hear Otter Edge: messages, topics, envelope and a bus client."""

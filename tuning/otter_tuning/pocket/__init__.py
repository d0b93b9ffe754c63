"""The pocket Otter: its world, its questions, its data, its training and its evaluation."""

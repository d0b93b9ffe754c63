"""The device: from a camera to published plans. It never imports torch."""

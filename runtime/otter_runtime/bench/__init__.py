"""How fast a device is: each stage cold and warm, in each power mode, beside the prediction."""

"""Arrays and files of intensities: axes, black and white point, tone. No torch."""

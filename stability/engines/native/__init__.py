"""The compiled engine for float16, float32 and float64."""

from shop.pricing import price  # noqa: F401 - what others import from the package

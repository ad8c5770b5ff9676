"""Lambda entry point: makes schedules and rules what the code declares, at each deployment."""

from polos.aws import lambda_handler

handler = lambda_handler("registrar")

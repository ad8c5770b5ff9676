"""Lambda entry point: delivers events and schedule ticks. Runs no code of workflows."""

from polos.aws import lambda_handler

handler = lambda_handler("events")

"""Lambda entry point: keeps what open executions have stored from expiring, every six hours."""

from polos.aws import lambda_handler

handler = lambda_handler("maintenance")

"""Lambda entry point: sends dead messages anew, fails what can't go on, keeps what is none of ours."""

from polos.aws import lambda_handler

handler = lambda_handler("dead_letters")

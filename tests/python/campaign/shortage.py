"""Processes with too little memory: every entry point under an address limit that falls."""

import memory_limited


def attempt(number, folder):
    """One process under one limit; 1."""
    names = sorted(memory_limited.ENTRIES)
    limits = memory_limited.LIMITS
    outcome = memory_limited.attempt(names[number % len(names)], limits[number // len(names) % len(limits)])
    assert memory_limited.sound(outcome), outcome
    return 1

"""Recipes: each module defines `experiment`, and its docstring says what to expect."""

"""Errors of training and of checkpoints.

SlimPajamaError
├── DataError        training data cannot be used; says which file and row
├── ResumeError      a checkpoint belongs to another run
├── SavingFailed     a checkpoint or model cannot be written; the one before it stays
├── OutOfMemory      there is too little memory; says which setting to lower
├── ConversionError  a model cannot be converted or was not healed; says why
└── TrainingDiverged the loss, a gradient or a weight is no number any more; the last good checkpoint stays
"""

from __future__ import annotations


class SlimPajamaError(Exception):
    """Something is wrong with a model, its data or its training."""


class DataError(SlimPajamaError):
    """The training data cannot be used."""


class ResumeError(SlimPajamaError):
    """The checkpoint belongs to a run with other options."""


class TrainingDiverged(SlimPajamaError):
    """The loss, a gradient or a weight is not a number."""


class SavingFailed(SlimPajamaError):
    """The checkpoint cannot be written."""


class OutOfMemory(SlimPajamaError):
    """There is too little memory."""


class ConversionError(SlimPajamaError):
    """The model cannot be converted."""

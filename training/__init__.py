"""The trainer: corpus readers, fitting, evaluation and publishing of content models; a command line and a library.

The only room that imports scikit-learn and joblib.
"""

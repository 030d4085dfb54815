"""What a model is: its structure, what `compile` and `fit` do with it, and its files.

Nothing is imported here, so that every module can be loaded by itself. From the outside the parts have the
names `gridnn.Sequential`, `gridnn.Trainer` and `gridnn.load_model`.
"""

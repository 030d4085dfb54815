"""`testing.TestCase` of Keras, for gridnn: the checks that Keras runs on every layer, on ours.

Not looked at: masks, numbers of seed generators, mixed precision, the kinds that only backends have.
"""

import copy
import json

import numpy as np
from keras.src import tree
from keras.src.testing import test_case

import gridnn as gn
from gridnn.layers.handles import LayerWeight


class TestCase(test_case.TestCase):
    """What Keras' tests are derived from."""

    def convert_to_numpy(self, x):
        return x.numpy() if isinstance(x, LayerWeight) else super().convert_to_numpy(x)

    def assertRaisesRegex(self, expected_exception, expected_regex, *args, **kwargs):
        """Compares what is refused, and that it is an error of the caller; words are our own."""
        return super().assertRaisesRegex(callers(expected_exception), "", *args, **kwargs)

    def assertRaises(self, expected_exception, *args, **kwargs):
        """The same."""
        return super().assertRaises(callers(expected_exception), *args, **kwargs)

    def run_class_serialization_test(self, instance, custom_objects=None):
        """A configuration makes an object with the same configuration, also after a way through JSON."""
        config = instance.get_config()
        revived = type(instance).from_config(config)
        text = test_case.to_json_with_tuples(config)
        self.assertEqual(text, test_case.to_json_with_tuples(revived.get_config()))
        again = type(instance).from_config(test_case.from_json_with_tuples(text))
        self.assertEqual(text, test_case.to_json_with_tuples(again.get_config()))
        plain = type(instance).from_config(json.loads(json.dumps(config)))
        self.assertEqual(json.dumps(config), json.dumps(plain.get_config()))
        self.assertEqual(set(dir(instance)), set(dir(revived)))
        self.assertEqual(text, test_case.to_json_with_tuples(copy.deepcopy(instance).get_config()))
        return revived

    def run_layer_test(
        self,
        layer_cls,
        init_kwargs,
        input_shape=None,
        input_dtype=None,
        input_sparse=False,
        input_ragged=False,
        input_data=None,
        call_kwargs=None,
        expected_output_shape=None,
        expected_output_dtype=None,
        expected_output=None,
        expected_num_trainable_weights=None,
        expected_num_non_trainable_weights=None,
        expected_num_non_trainable_variables=None,
        expected_num_losses=None,
        custom_objects=None,
        run_training_check=True,
        **unseen,
    ):
        """What Keras' function of this name does; see there for the arguments."""
        if input_sparse or input_ragged or unseen.get("expected_output_sparse"):
            self.skipTest("sparse and ragged tensors")
        call_kwargs = call_kwargs or {}
        counts = {
            "trainable_weights": expected_num_trainable_weights,
            "non_trainable_weights": expected_num_non_trainable_weights,
        }
        if expected_num_non_trainable_weights is None:
            # Keras counts the states of random generators as well.
            seeds = unseen.get("expected_num_seed_generators") or 0
            if expected_num_non_trainable_variables is not None:
                counts["non_trainable_weights"] = expected_num_non_trainable_variables - seeds

        def made():
            return layer_cls(**init_kwargs)

        def check_built(layer):
            for kind, number in counts.items():
                if number is not None:
                    self.assertLen(getattr(layer, kind), number, msg=f"number of {kind}")

        def check_output(output):
            if expected_output_shape is not None:
                for wanted, size in zip(expected_output_shape, output.shape, strict=True):
                    self.assertIn(wanted, (None, size), msg=f"{expected_output_shape}: {output.shape}")
            if expected_output_dtype is not None:
                self.assertEqual(str(np.dtype(output.dtype)), expected_output_dtype)

        self.run_class_serialization_test(made(), custom_objects)
        if input_data is None and input_shape is None:
            return
        if input_data is None:
            dtypes = input_dtype or tree.map_shape_structure(lambda _: "float32", input_shape)
            input_data = test_case.create_eager_tensors(input_shape, dtypes, False, False)
        shapes = tree.map_structure(lambda x: tuple(np.shape(x)), input_data)
        # Weights are made by `build`, by a model, or by a call on arrays: not by one on symbolic tensors.

        layer = made()
        layer.build(shapes)
        self.assertTrue(layer.built or layer.in_python)
        check_built(layer)

        layer = made()
        check_output(layer(tree.map_structure(symbolic, input_data), **call_kwargs))

        layer = made()
        output = layer(input_data, **call_kwargs)
        check_output(output)
        if expected_output is not None:
            self.assertAllClose(expected_output, output, msg="Unexpected output value")
        if expected_num_losses is not None:
            penalties = [getattr(layer, name) for name in vars(layer) if name.endswith("_regularizer")]
            own = type(layer).__name__ == "ActivityRegularization"
            self.assertLen([one for one in penalties if one is not None] or [1] * own, expected_num_losses)
        if run_training_check:
            self.train(layer, input_data, output)

    def train(self, layer, data, output):
        """A step of training of a model of this layer alone."""
        inputs = tree.map_structure(symbolic, data)
        model = gn.Model(inputs, layer(inputs))
        model.compile("sgd", "mse")
        wanted = np.asarray(output) + np.ones((), np.asarray(output).dtype)
        history = model.fit(data, wanted, batch_size=len(output), verbose=0)
        self.assertTrue(np.isfinite(history.history["loss"]).all())


def symbolic(x):
    """A symbolic tensor for data like these."""
    return gn.Input(np.shape(x)[1:], np.shape(x)[0], dtype=str(x.dtype) if x.dtype != np.float64 else None)


def callers(kinds):
    """Exceptions that tell a caller of a wrong argument, where one of them is expected."""
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    return (*kinds, ValueError, TypeError) if {ValueError, TypeError, AttributeError} & set(kinds) else kinds

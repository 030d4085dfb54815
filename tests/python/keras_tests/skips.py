"""Which of Keras' test files are run, what of them is skipped, by kind of reason, and what fails."""

#: Files by group, without "_test.py".
FILES = {
    "merging": ["layers/merging/merging"],
    "sequential": ["models/sequential"],
    "functional": ["models/functional", "models/model", "models/cloning"],
    "core": [
        "layers/core/dense",
        "layers/core/identity",
        "layers/core/input_layer",
        "layers/core/lambda_layer",
        "layers/core/wrapper",
        "layers/core/masking",
    ],
    "activations": [
        "activations/activations",
        "layers/activations/activation",
        "layers/activations/elu",
        "layers/activations/leaky_relu",
        "layers/activations/prelu",
        "layers/activations/relu",
        "layers/activations/softmax",
    ],
    "losses": ["losses/loss", "losses/losses"],
    "metrics": [
        f"metrics/{name}"
        for name in [
            "accuracy_metrics",
            "confusion_metrics",
            "correlation_metrics",
            "f_score_metrics",
            "hinge_metrics",
            "iou_metrics",
            "metric",
            "probabilistic_metrics",
            "reduction_metrics",
            "regression_metrics",
        ]
    ],
    "initializers": [
        "initializers/initializer",
        "initializers/constant_initializers",
        "initializers/random_initializers",
    ],
    "regularizers": ["regularizers/regularizers"],
    "constraints": ["constraints/constraints"],
    "convolutional": [
        f"layers/convolutional/{name}"
        for name in ("conv", "conv_transpose", "depthwise_conv", "separable_conv")
    ],
    "pooling": [
        f"layers/pooling/{name}"
        for name in [
            "average_pooling",
            "max_pooling",
            "global_average_pooling",
            "global_max_pooling",
            "adaptive_pooling1d",
            "adaptive_pooling2d",
            "adaptive_pooling3d",
        ]
    ],
    "reshaping": [
        f"layers/reshaping/{name}"
        for name in [
            "cropping1d",
            "cropping2d",
            "cropping3d",
            "flatten",
            "permute",
            "repeat_vector",
            "reshape",
            "up_sampling1d",
            "up_sampling2d",
            "up_sampling3d",
            "zero_padding1d",
            "zero_padding2d",
            "zero_padding3d",
        ]
    ],
    "normalization": [
        f"layers/normalization/{name}"
        for name in (
            "batch_normalization",
            "group_normalization",
            "layer_normalization",
            "unit_normalization",
        )
    ],
    "regularization": [
        f"layers/regularization/{name}"
        for name in (
            "activity_regularization",
            "dropout",
            "gaussian_dropout",
            "gaussian_noise",
            "spatial_dropout",
        )
    ],
}

NOT_OURS = "helpers of Keras alone: nothing of gridnn runs"
PRECISION = "dtype policies, low precision, quantization, LoRA"
MASKS = "masks, which recurrent layers and attention have"
SUBCLASSES = "models with a `call` of their own, and what Keras finds in them"
STRUCTURES = "nested structures, optional inputs and scalars as inputs and outputs of a model"
SYMBOLIC_OPS = "operations of `keras.ops` and comparisons in a graph"
PRIVATE = "private attributes and states of Keras' objects"
ARGUMENTS = "arguments that the page of differences says are not here"
NAMES = "names that the tables of this page say are not here"
BACKENDS = "sparse and ragged tensors, several devices, other frameworks"
BY_KERAS = "left out by Keras itself"
REFUSED = "refused here, as the page of differences says"
TAKEN = "taken here, where Keras refuses or warns"
GRADIENTS = "functions as losses, which need a gradient here"
MOVING = "calls in training, which leave moving statistics as they are here"
CHANNELS_FIRST = "channels_first"
CONFIGS = "`data_format`, `dtype` and dtype policies in configurations"
WORDS = "words of error messages"

#: Reason -> patterns of the names of tests ("module_test.Class.test") that are not run: without statements
#: about masks they are empty.
EMPTY = {MASKS: ["*merging_test*test_errors_*"]}

#: The same for tests that are run. They are skipped if they fail.
TESTS = {
    PRECISION: [
        "*quantize*",
        "*lora*",
        "*gptq*",
        "*awq*",
        "*int4*",
        "*float8*",
        "*_dtype_arg*",
        "*autocast*",
        "*mixed_precision*",
        "*metric_test.MetricTest.test_default_dtype",
        "*test_dtype_standardization",
    ],
    MASKS: ["*mask*", "*GlobalAveragePoolingCorrectnessTest.test_global_average_pooling1d[01]*"],
    SUBCLASSES: [
        "*subclass*",
        "*_tree*",
        "*test_layers_setter",
        "*test_reviving_functional_from_config_custom_*",
        "*custom_compute_loss",
    ],
    STRUCTURES: [
        "*sequential_test*test_dict_inputs",
        "*sequential_test*test_list_inputs",
        "*struct_losses*",
        "*test_optional_*",
        "*test_deeply_nested_model",
        "*test_rank_standardization_failure",
        "*test_restored_nested_input",
        "*test_scalar_input",
        "*test_flatten_with_scalar_channels",
    ],
    PRIVATE: [
        "*InputLayerTest.test_call_method",
        "*InputLayerTest.test_input_shape_deprecated",
        "*test_legacy_load_own_variables",
        "*test_recursive*",
        "*MetricWrapperTest.test_config",
        "*MeanIoUTest.test_big_chunk",
    ],
    SYMBOLIC_OPS: ["*reduction_metrics_test*dynamic_shape*", "*boolean_inputs"],
    TAKEN: [
        "*test_bad_layer",
        "*conv*_test*test_bad_init_args",
        "*test_list_input_with_dict_build",
        "*test_warning_for_mismatched_inputs_structure",
        "*test_cropping_1d_errors_if_cropping_argument_invalid",
        "*test_zero_padding_1d_errors_if_padding_argument_invalid0*",
        "*FBetaScoreTest.test_*raises_value_error",
        "*R2ScoreTest.test_errors",
        "*test_user_warning_float_weight",
    ],
    MOVING: ["*BatchNormalizationTest.test_correctness*"],
    WORDS: ["*orthogonal_regularizer_mode_validation", "*orthogonal_regularizer_input_rank_validation"],
}

#: Reason -> what the error says that the test ends with.
MESSAGES = {
    CHANNELS_FIRST: ["channels_first"],
    PRECISION: ["there are no lower precisions"],
    REFUSED: [
        "expected class labels from",
        "expected classes from",
        "which is no output of the model",
        "which is no input of the model",
        "takes a layer of gridnn",
        "An axis too many",
        "leads to none of the outputs",
        "Keras cannot open this model",
        "cannot change after construction",
        "'] of type list",
    ],
    ARGUMENTS: [
        "'nearest', 'bilinear'",
        "curve='PRGAIN'",
        "SeedGenerator",
        "`num_regressors` argument must be 0",
    ],
    BACKENDS: ["must be one of 'onnx', 'c'"],
    GRADIENTS: ["of type function"],
    MASKS: ["there are no masks"],
    STRUCTURES: ["must have at least one axis. Received shape=()"],
    CONFIGS: ["'dtype'", "'data_format'", "'dtype_policy'"],
}

#: Arguments of Keras that are not here.
NOT_TAKEN = [
    "axis",
    "from_logits",
    "ignore_class",
    "from_sorted_ids",
    "thresholds",
    "multi_label",
    "renorm",
    "synchronized",
    "rms_scaling",
    "input_axes",
    "num_labels",
    "safe_mode",
    "optional",
    "sparse",
    "input_tensor",
]

#: Reason -> what the reason of a test that has skipped itself says.
KINDS = {
    BY_KERAS: ["by Keras itself"],
    PRECISION: ["dtype policies"],
    BACKENDS: ["sparse and ragged", "several devices", "other frameworks", "applications"],
    MASKS: ["recurrent layers", "attention"],
    NAMES: ["layers: ", "losses: ", "metrics: ", "activations: ", "initializers: ", "optimizers: "],
}

_CLIP = "losses.losses_test.BinaryCrossentropyTest"
_CLIP_METRIC = "metrics.probabilistic_metrics_test.BinaryCrossentropyTest"
_RELU = "activations.activations_test.ActivationsTest"

#: Why tests fail, and which.
FAILURES = {
    "Keras clips probabilities in float32, where 1 - 1e-7 is 1 - 1.19e-7. Here that is done in float64: the "
    "loss of a wrong certainty is 16.12, and not 15.94.": [
        f"{_CLIP}.test_sample_weighted",
        f"{_CLIP}.test_scalar_weighted",
        f"{_CLIP}.test_unweighted",
        f"{_CLIP_METRIC}.test_unweighted",
        f"{_CLIP_METRIC}.test_weighted",
    ],
    "A value that equals `threshold` of `relu` passes, as Keras documents it; its code makes it 0.": [
        f"{_RELU}.test_relu_combined_all_parameters",
        f"{_RELU}.test_relu_combined_threshold_and_max_value",
        f"{_RELU}.test_relu_threshold",
        "layers.activations.relu_test.ReLUTest.test_threshold_relu_correctness",
    ],
    "`a + b` of symbolic tensors is a layer, and stands among `model.layers`.": [
        "models.functional_test.FunctionalTest.test_layer_getters"
    ],
    "A model that begins with a tensor in the middle of another has no layer for it.": [
        "models.functional_test.FunctionalTest.test_functional_slicing"
    ],
    "Outputs that were given as a tuple come as a list.": [
        "models.functional_test.FunctionalTest.test_restored_multi_output_type_tuple"
    ],
    "With `top_k` sample weights belong to samples, not to single outputs.": [
        "metrics.confusion_metrics_test.PrecisionTest.test_weighted_top_k",
        "metrics.confusion_metrics_test.RecallTest.test_weighted_top_k",
    ],
    "Labels must have the shape of the outputs without classes; Keras takes others with as many elements.": [
        "metrics.accuracy_metrics_test.SparseCategoricalAccuracyTest.test_reshape_matches"
    ],
    '`F1Score` has `average="macro"` by default.': ["metrics.f_score_metrics_test.F1ScoreTest.test_config"],
    "The configuration of `Huber` has its `delta`, which Keras forgets.": [
        "losses.losses_test.HuberLossTest.test_config"
    ],
    "The channel axis is that of the first data.": [
        "layers.reshaping.flatten_test.FlattenTest.test_flatten_with_dynamic_batch_size_and_dynamic_dimenstions"
    ],
    "Penalties are part of the loss of a step; there is no list `layer.losses`.": [
        "layers.regularization.activity_regularization_test.ActivityRegularizationTest.test_correctness"
    ],
}

"""Images in the rows of text files."""

import re

import numpy as np
import pytest

import gridnn as gn
from gridnn.errors import FileFormatError

pytestmark = pytest.mark.one_tier


@pytest.fixture
def table(tmp_path):
    def write(text, encoding="utf-8"):
        file = tmp_path / "images.csv"
        file.write_bytes(text.encode(encoding))
        return file

    return write


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("label,a,b,c,d\n7,0,1,2,3\n9,4,5,6,255\n", "label"),
        ("label,a,b,c,d\n7,0,1,2,3\n9,4,5,6,255\n", 0),
        ("7,0,1,2,3\n9,4,5,6,255\n", 0),
        ("0,1,2,3,7\n4,5,6,255,9\n", -1),
        ("\ufefflabel,a,b,c,d\r\n7,0,1,2,3\r\n\r\n9,4,5,6,255\r\n", "label"),
        ('"label","a","b","c","d"\n"7","0","1","2","3"\n9, 4, 5, 6, 255', "label"),
        ("7.0,0.0,1.0,2.0,3.0\n9.0,4.0,5.0,6.0,255.0\n", 0),
    ],
)
def test_labels_and_values_are_read(table, text, column):
    x, y = gn.data.csv_images(table(text), (2, 2), column)
    assert (x.shape, x.dtype) == ((2, 2, 2, 1), np.uint8)
    assert x.reshape(2, 4).tolist() == [[0, 1, 2, 3], [4, 5, 6, 255]]
    assert (y.tolist(), y.dtype) == ([7, 9], np.int64)


def test_names_become_numbers_in_the_order_of_unicode(table):
    data = gn.data.csv_images(table("1,2,dog\n3,4,cat\n5,6,dog\n"), (2, 1, 1), -1)
    assert data.class_names == ["cat", "dog"]
    assert data.y.tolist() == [1, 0, 1]


def test_without_labels_there_are_images_alone(table):
    x = gn.data.csv_images(table("0,1\n2,3\n"), (2, 1), None)
    assert x.shape == (2, 2, 1, 1)


@pytest.mark.parametrize("text", ["0,0.5\n", "0,-1\n", "0,256\n", "0,1e3\n"])
def test_values_that_are_no_bytes_are_floats(table, text):
    x, _ = gn.data.csv_images(table(text), (1,), 0)
    assert x.dtype == np.float32


def test_many_lines_are_read_in_pieces(table):
    values = np.random.default_rng(0).integers(0, 256, (300, 4096))
    text = "\n".join(",".join(map(str, [n % 5, *row])) for n, row in enumerate(values))
    x, y = gn.data.csv_images(table(text), (64, 64))
    assert np.array_equal(x.reshape(300, -1), values)
    assert y.tolist() == [n % 5 for n in range(300)]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "7,0,1,2,3\n9,4,5,6\n",
            FileFormatError,
            r"images\.csv, line 2: 4 values; expected 5, which are 4 for shape .* and a label",
        ),
        (
            "label,a,b,c,d\n7,0,x,2,3\n",
            FileFormatError,
            r"images\.csv, line 2: 'x' is not a number, in column 'b'$",
        ),
        (
            "label,a,b,c,d\n7,0,,2,3\n",
            FileFormatError,
            "line 2: '' is not a number, in column 'b': a value is missing",
        ),
        ("", FileFormatError, r"images\.csv: empty"),
        ("label,a,b,c,d\n", FileFormatError, "no lines but the names"),
    ],
)
def test_broken_lines_are_named(table, text, error, message):
    with pytest.raises(error, match=message):
        gn.data.csv_images(table(text), (2, 2), 0)


def test_columns_that_are_not_there_are_explained(table):
    with pytest.raises(ValueError, match="has no column 'y'; it has label, a"):
        gn.data.csv_images(table("label,a\n1,2\n"), (1,), "y")
    with pytest.raises(ValueError, match="has 2 columns 'y': give `label_column` as a number"):
        gn.data.csv_images(table("y,y,a\n1,2,3\n"), (2,), "y")
    with pytest.raises(ValueError, match="has no line with names"):
        gn.data.csv_images(table("1,2\n"), (1,), "y")
    with pytest.raises(ValueError, match="has 2 columns"):
        gn.data.csv_images(table("1,2\n"), (1,), 2)
    with pytest.raises(ValueError, match="must hold sizes only"):
        gn.data.csv_images(table("1,2\n"), (None,), 0)


def test_what_is_no_text_is_named(table):
    with pytest.raises(FileFormatError, match=r"images\.csv: not a text file"):
        gn.data.csv_images(table("é", "latin-1"), (1,), 0)
    with pytest.raises(FileNotFoundError):
        gn.data.csv_images("nowhere.csv", (1,))


@pytest.mark.parametrize("first", ["7,,1,2,3", "7,0,NA,2,3", "7,0,1,2,?"])
def test_a_damaged_first_line_is_not_taken_for_names(table, first):
    with pytest.raises(FileFormatError, match=r"line 1: .* is not a number"):
        gn.data.csv_images(table(first + "\n9,4,5,6,255\n"), (2, 2), 0)


def test_names_of_columns_that_are_numbers_are_no_sample(table):
    file = table("label,0,1,2,3\n7,0,1,2,3\n9,4,5,6,255\n")
    with pytest.raises(FileFormatError, match="pass label_column='label'"):
        gn.data.csv_images(file, (2, 2), 0)
    x, y = gn.data.csv_images(file, (2, 2), "label")
    assert (len(x), y.tolist()) == (2, [7, 9])


@pytest.mark.parametrize("label", [2**53 + 1, 2**63 - 1, -(2**63)])
def test_labels_are_read_to_the_last_digit(table, label):
    assert gn.data.csv_images(table(f"{label},1\n0,2\n"), (1,)).y.tolist() == [label, 0]


@pytest.mark.parametrize("label", ["9223372036854775808", "1e30", "nan", "inf", "1.5"])
def test_numbers_that_are_no_class_are_named(table, label):
    with pytest.raises(FileFormatError, match=rf"images\.csv, line 3: the label {label} is no class"):
        gn.data.csv_images(table(f"1,1\n\n{label},2\n"), (1,))


def test_a_missing_label_is_no_class(table):
    for text in ("cat,1\n ,2\n", "1,1\n,2\n"):
        with pytest.raises(FileFormatError, match="line 2: there is no label"):
            gn.data.csv_images(table(text), (1,))


def test_values_beyond_float32_are_named(table):
    with pytest.raises(FileFormatError, match=r"line 2: -1e\+39 is too large for float32"):
        gn.data.csv_images(table("0,1,inf\n0,2,-1e39\n"), (2,))
    with pytest.raises(FileFormatError, match="line 2: -1e400 is too large for float32"):
        gn.data.csv_images(table("0,1,inf\n0,2,-1e400\n"), (2,))
    assert np.isinf(gn.data.csv_images(table("0,1,inf\n"), (2,)).x).any()


def test_what_may_be_meant_is_said(table):
    with pytest.raises(ValueError, match="no column 'label'; it has label;a;b; perhaps it has delimiter=';'"):
        gn.data.csv_images(table("label;a;b\n1;2;3\n"), (2,), "label")
    with pytest.raises(FileFormatError, match=r"line 3: 1 values; .* quotation mark"):
        gn.data.csv_images(table('label,a,b\n"x,0,1\ny,0,1\n'), (2,), "label")


@pytest.mark.parametrize("delimiter", ["", ", ", "\n", '"'])
def test_a_delimiter_is_one_character(table, delimiter):
    with pytest.raises(ValueError, match="`delimiter` argument must be one character"):
        gn.data.csv_images(table("0,1\n"), (1,), delimiter=delimiter)
    with pytest.raises(TypeError, match="`delimiter` argument must be a string"):
        gn.data.csv_images(table("0,1\n"), (1,), delimiter=None)


@pytest.mark.parametrize("column", [[1], 1.5, True, b"a"])
def test_a_column_is_a_name_or_a_number(table, column):
    with pytest.raises(TypeError, match="`label_column` argument must be an integer"):
        gn.data.csv_images(table("0,1\n"), (1,), column)


@pytest.mark.parametrize("delimiter", [";", "\t", "|", " "])
@pytest.mark.parametrize("lines", ["1,2\n", "1,2\n3,4\n", "label,a\n1,2\n"])
def test_another_delimiter_is_suspected(table, delimiter, lines):
    file = table(lines.replace(",", delimiter))
    with pytest.raises(FileFormatError, match=re.escape(f"perhaps it has delimiter={delimiter!r}")):
        gn.data.csv_images(file, (1,))
    assert gn.data.csv_images(file, (1,), delimiter=delimiter).y[0] == 1


def test_a_comma_is_suspected_too(table):
    with pytest.raises(FileFormatError, match="perhaps it has delimiter=','"):
        gn.data.csv_images(table("1,2\n3,4\n"), (1,), delimiter=";")

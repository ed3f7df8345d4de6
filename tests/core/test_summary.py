from foretrain.core.quantity import Quantity
from foretrain.core.summary import Summarised, with_interval


class Answer(Summarised):
    def summary(self):
        return {"run": "<script>alert('a & b')</script>", "loss": with_interval(Quantity(2.12345, {0.9: (2.0, 2.5)}))}


def test_a_repr_is_one_line_of_facts():
    assert repr(Answer()) == "<Answer: run <script>alert('a & b')</script>; loss 2.123 (2 to 2.5)>"


def test_html_is_a_table_in_which_everything_is_escaped():
    text = Answer()._repr_html_()
    assert text.startswith("<table>")
    assert text.count("<tr>") == 2
    assert "<script" not in text
    assert "&lt;script&gt;alert(&#x27;a &amp; b&#x27;)&lt;/script&gt;" in text

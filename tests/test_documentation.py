"""The diagrams of estimators, with which scikit-learn leads to their documentation."""

import re

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils import estimator_html_repr

from skcnn import ConvNetClassifier, ConvNetRegressor, ImageScaler
from skcnn.augmentation import flip_left_right, jitter, shift

PAGES = {
    ConvNetClassifier: "skcnn.ConvNetClassifier",
    ConvNetRegressor: "skcnn.ConvNetRegressor",
    ImageScaler: "skcnn.ImageScaler",
    flip_left_right: "skcnn.augmentation.flip_left_right",
    jitter: "skcnn.augmentation.jitter",
    shift: "skcnn.augmentation.shift",
}


def address(page):
    return f"https://skcnn.readthedocs.io/stable/api/generated/{page}.html"


def links(diagram):
    """The pages to which a diagram leads, without the places on them."""
    return {link.partition("#")[0] for link in re.findall('href="(http[^"]*)"', diagram)}


@pytest.mark.parametrize("cls", PAGES)
def test_the_diagram_of_an_estimator_leads_to_its_page(cls):
    assert links(estimator_html_repr(cls())) == {address(PAGES[cls])}


@pytest.mark.parametrize("cls", PAGES)
def test_every_parameter_has_its_description_as_a_tooltip(cls):
    tooltips = re.findall(
        r'<a class="param-doc-link"[^>]*href="([^"]*)">\s*(\w+)\s*<span.*?>\s*(.*?)</span>',
        estimator_html_repr(cls()),
        re.S,
    )
    assert {name for _, name, _ in tooltips} == cls().get_params().keys()
    for link, name, text in tooltips:
        assert link.startswith(f"{address(PAGES[cls])}#:~:text={name},")
        assert re.match(rf"{name}: .+<br><br>.+", text)


def test_each_step_of_a_pipeline_leads_to_its_own_documentation():
    pipeline = make_pipeline(MinMaxScaler(), ImageScaler(), ConvNetClassifier())
    ours = {address("skcnn.ImageScaler"), address("skcnn.ConvNetClassifier")}
    others = links(estimator_html_repr(make_pipeline(MinMaxScaler(), LogisticRegression())))
    others = {link for link in others if "Logistic" not in link}
    assert len(others) == 2 and all(link.startswith("https://scikit-learn.org") for link in others)
    assert links(estimator_html_repr(pipeline)) == ours | others


def test_a_subclass_from_elsewhere_has_no_page():
    class Mine(ConvNetClassifier):
        pass

    assert links(estimator_html_repr(Mine())) == set()

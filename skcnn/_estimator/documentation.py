"""Where the documentation of a class is, for scikit-learn's diagrams of estimators."""


class HasDocumentation:
    """Mixin of public estimators, whose diagrams link to the documentation.

    Names are as scikit-learn wants them. For a subclass from elsewhere there is no link.
    """

    _doc_link_module = "skcnn"
    _doc_link_template = (
        "https://skcnn.readthedocs.io/stable/api/generated/{estimator_module}.{estimator_name}.html"
    )

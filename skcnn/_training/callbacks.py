"""scikit-learn's callbacks, called at the beginning and end of a training and of its epochs."""


class Callbacks:
    """Calls scikit-learn's callbacks at the beginning and end of a training and of its epochs.

    Parameters
    ----------
    context : CallbackContext
        The training's, from the ``_init_callback_context`` of scikit-learn's
        ``CallbackSupportMixin``.
    estimator : estimator
        The estimator whose ``fit`` was called.
    model : estimator
        The copy of the estimator that is trained.
    X, y, sample_weight
        The arguments of ``fit``.

    Attributes
    ----------
    fitted : callable
        Returns the attributes to add or replace in a snapshot of the model.
    """

    def __init__(self, context, estimator, model, X, y, sample_weight):
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        self._arguments = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._training = context
        self._model = model
        self._training.call_on_fit_task_begin(**self._arguments)
        self._epoch = None
        self.fitted = dict

    def begin_epoch(self):
        """Call the callbacks at the beginning of an epoch, unless one has begun."""
        if self._epoch is None:
            self._epoch = self._training.subcontext(task_name="epoch")
            self._epoch.call_on_fit_task_begin(**self._arguments)

    def end_epoch(self):
        """Call the callbacks at the end of an epoch; return whether one of them asks to stop."""
        epoch, self._epoch = self._epoch, None
        return self._end(epoch)

    def end(self):
        """Call the callbacks at the end of the training."""
        if self._epoch is not None:  # one that L-BFGS began and gave up
            self.end_epoch()
        self._end(self._training)

    def _end(self, task):
        def attributes():  # those that scikit-learn sets on a copy of the estimator: all of them
            return {"__dict__": {**vars(self._model), **self.fitted()}}

        return task.call_on_fit_task_end(**self._arguments, reconstruction_attributes=attributes)

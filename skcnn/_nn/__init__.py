"""The mathematics of the network, in NumPy: a file for each kind of layer, and one for the losses.

Letters and shapes, for n images of H x W pixels and C channels, F filters of K x K taps, pooling
windows of p x q pixels; H' = H//p and W' = W//q. In the arrays of a computation the axis of the
images is the last, so that NumPy's inner loops are long, and A of one layer is X of the next::

    X        images, or A of the layer before  (C, H, W, n), or (n_in, n) of a dense layer
    W, b     filters and their intercepts      (F, K, K, C), (F,)
    Z        response, without b               (F, H, W, n)
    R        ReLU of Z + b, not yet pooled     (F, H, W, n)
    M        Z after max pooling               (F, H', W', n)
    A        output of a layer                 (F, H', W', n), or (n_out, n) of a dense layer
    V, c     dense weights and intercepts      (n_out, n_in), (n_out,)
    T        A of the last layer               (n_outputs, n)

dX is the gradient of the loss with respect to X, and likewise for the others. `layer` says what a
layer must have and do.
"""

/* The network of one 3 x 3 filter, trained image by image in float64, as plain loops in C.

   It does what `sgd` does in peers.py for one filter without intercepts, and is what a compiler
   makes of the equations when nothing stands between them and the processor. */

#include <math.h>

enum { H = 28, K = 3, ROW = H + K - 1, N = H * ROW - (K - 1) };

void train(const double *restrict X, const double *restrict y, const long *restrict order,
           long n_steps, double eta, double *restrict W, double *restrict V, double *restrict T)
{
    static double padded[ROW * ROW], Z[H * ROW], dZ[H * ROW], A[H * H];
    for (long step = 0; step < n_steps; step++) {
        const double *x = X + order[step] * H * H;
        for (int i = 0; i < H; i++)
            for (int j = 0; j < H; j++)
                padded[(i + 1) * ROW + j + 1] = x[i * H + j];
        for (int q = 0; q < N; q++) {
            double z = 0;
            for (int u = 0; u < K; u++)
                for (int v = 0; v < K; v++)
                    z += W[u * K + v] * padded[q + u * ROW + v];
            Z[q] = z;
        }
        double t = 0;
        for (int i = 0; i < H; i++)
            for (int j = 0; j < H; j++) {
                double z = Z[i * ROW + j];
                A[i * H + j] = z > 0 ? z : 0;
                t += A[i * H + j] * V[i * H + j];
            }
        double dt = 1 / (1 + exp(-t)) - y[order[step]];
        for (int i = 0; i < H; i++)
            for (int j = 0; j < H; j++) {
                int k = i * H + j;
                dZ[i * ROW + j] = A[k] > 0 ? dt * V[k] : 0;
                V[k] -= eta * dt * A[k];
            }
        double dW[K * K] = {0};
        for (int q = 0; q < N; q++)
            for (int u = 0; u < K; u++)
                for (int v = 0; v < K; v++)
                    dW[u * K + v] += dZ[q] * padded[q + u * ROW + v];
        for (int k = 0; k < K * K; k++)
            W[k] -= eta * dW[k];
        T[step] = t;
    }
}

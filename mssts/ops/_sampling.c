/* Deformable sampling on a CPU. PyTorch's grid sampling, one level after the other, takes several times as long.
 *
 * The installation compiles this if there is GCC or Clang. It is written from the definition in mssts/ops/attention.py;
 * the letters of shapes are those of compiled_sampling.py.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

#if !defined(__GNUC__)
#error "Vectors of GCC and Clang are needed. Without them PyTorch samples grids."
#endif

#define INLINED static inline __attribute__((always_inline))

#define LANES 8
#define MAX_VECTORS 32
typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float Half __attribute__((vector_size(2 * LANES), aligned(4), may_alias));

typedef struct {
    int64_t first, height, width;
} Level;

typedef struct {
    Py_ssize_t N, S, Q, M, L, P, V; /* V vectors of channels in a head */
    const Level *levels;
} Sizes;

/* The four cells around a location, the upper two first, and their shares. Outside of the map, a share is zero and the
 * cell is one inside: without branches, which a processor cannot predict here. */
typedef struct {
    int64_t first[4]; /* value of each cell */
    float left, right, above, below;
    float in_left, in_right, in_above, in_below; /* 0 or 1 */
} Cells;

/* 0 if all four cells are outside of the map. */
INLINED int find_cells(Cells *cells, const Level *level, const float *location, int64_t stride)
{
    int width = (int)level->width, height = (int)level->height;
    /* In the order of grid sampling, from -1 to 1: the gradient of a location jumps where it changes its cell. */
    float x = (2 * location[0] - 1 + 1) * (0.5f * (float)width) - 0.5f;
    float y = (2 * location[1] - 1 + 1) * (0.5f * (float)height) - 0.5f;
    if (!(x > -1 && x < (float)width && y > -1 && y < (float)height)) /* nor for what is not a number */
        return 0;
    int column = (int)x - (x < 0), row = (int)y - (y < 0);
    int in_left = column >= 0, in_right = column < width - 1, in_above = row >= 0, in_below = row < height - 1;
    float right = x - (float)column, below = y - (float)row;
    cells->in_left = (float)in_left;
    cells->in_right = (float)in_right;
    cells->in_above = (float)in_above;
    cells->in_below = (float)in_below;
    cells->left = (1 - right) * cells->in_left;
    cells->right = right * cells->in_right;
    cells->above = (1 - below) * cells->in_above;
    cells->below = below * cells->in_below;
    int64_t to_the_right = stride * (in_left & in_right), downwards = stride * (width * (in_above & in_below));
    cells->first[0] = (level->first + (int64_t)(row + !in_above) * width + column + !in_left) * stride;
    cells->first[1] = cells->first[0] + to_the_right;
    cells->first[2] = cells->first[0] + downwards;
    cells->first[3] = cells->first[2] + to_the_right;
    return 1;
}

/* Output of one head of one frame. V is a constant where this is inlined. */
INLINED void forward_of_head(const Sizes *sizes, const Py_ssize_t V, const float *values, const float *locations,
                             const float *weights, float *output)
{
    int64_t stride = sizes->M * V * LANES, samples = sizes->L * sizes->P;
    for (Py_ssize_t q = 0; q < sizes->Q; q++) {
        const float *location = locations + q * sizes->M * samples * 2, *weight = weights + q * sizes->M * samples;
        Lanes total[V];
        for (Py_ssize_t v = 0; v < V; v++)
            total[v] = (Lanes){0};
        for (Py_ssize_t l = 0; l < sizes->L; l++) {
            for (Py_ssize_t p = 0; p < sizes->P; p++, location += 2, weight++) {
                Cells cells;
                if (!find_cells(&cells, &sizes->levels[l], location, stride))
                    continue;
                float above = cells.above * *weight, below = cells.below * *weight;
                float shares[4] = {above * cells.left, above * cells.right, below * cells.left, below * cells.right};
                for (int cell = 0; cell < 4; cell++)
                    for (Py_ssize_t v = 0; v < V; v++)
                        total[v] += shares[cell] * ((const Lanes *)(values + cells.first[cell]))[v];
            }
        }
        Lanes *row = (Lanes *)(output + q * stride);
        for (Py_ssize_t v = 0; v < V; v++)
            row[v] = total[v];
    }
}

INLINED float sum_of(Lanes lanes)
{
    const Half *halves = (const Half *)&lanes;
    Half half = halves[0] + halves[1];
    return (half[0] + half[1]) + (half[2] + half[3]);
}

/* Gradients of one head of one frame; to_values has to be zero before. */
INLINED void backward_of_head(const Sizes *sizes, const Py_ssize_t V, const float *upstream, const float *values,
                              const float *locations, const float *weights, float *to_values, float *to_locations,
                              float *to_weights)
{
    int64_t stride = sizes->M * V * LANES, samples = sizes->L * sizes->P;
    for (Py_ssize_t q = 0; q < sizes->Q; q++) {
        const Lanes *gradient = (const Lanes *)(upstream + q * stride);
        int64_t sample = q * sizes->M * samples;
        for (Py_ssize_t l = 0; l < sizes->L; l++) {
            const Level *level = &sizes->levels[l];
            for (Py_ssize_t p = 0; p < sizes->P; p++, sample++) {
                Cells cells;
                to_weights[sample] = to_locations[2 * sample] = to_locations[2 * sample + 1] = 0;
                if (!find_cells(&cells, level, locations + 2 * sample, stride))
                    continue;
                float above = cells.above * weights[sample], below = cells.below * weights[sample], products[4];
                float shares[4] = {above * cells.left, above * cells.right, below * cells.left, below * cells.right};
                for (int cell = 0; cell < 4; cell++) {
                    const Lanes *value = (const Lanes *)(values + cells.first[cell]);
                    Lanes *to_value = (Lanes *)(to_values + cells.first[cell]), product = {0};
                    for (Py_ssize_t v = 0; v < V; v++) {
                        product += gradient[v] * value[v];
                        to_value[v] += shares[cell] * gradient[v];
                    }
                    products[cell] = sum_of(product);
                }
                float upper = cells.left * products[0] + cells.right * products[1];
                float lower = cells.left * products[2] + cells.right * products[3];
                float of_x = cells.above * (cells.in_right * products[1] - cells.in_left * products[0]) +
                             cells.below * (cells.in_right * products[3] - cells.in_left * products[2]);
                float of_y = cells.in_below * lower - cells.in_above * upper;
                to_weights[sample] = cells.above * upper + cells.below * lower;
                to_locations[2 * sample] = of_x * weights[sample] * (float)level->width;
                to_locations[2 * sample + 1] = of_y * weights[sample] * (float)level->height;
            }
        }
    }
}

typedef struct {
    const float *values, *locations, *weights, *upstream;
    float *output, *to_values, *to_locations, *to_weights;
} Arrays;

/* One of both passes for some of the N*M heads of all frames. */
INLINED void run_inlined(const Sizes *sizes, const Arrays *arrays, Py_ssize_t first, Py_ssize_t last, int backward)
{
    Py_ssize_t samples = sizes->L * sizes->P, channels = sizes->V * LANES;
    for (Py_ssize_t map = first; map < last; map++) {
        Py_ssize_t frame = map / sizes->M, head = map % sizes->M;
        Py_ssize_t of_values = (frame * sizes->S * sizes->M + head) * channels;
        Py_ssize_t query = frame * sizes->Q * sizes->M + head;
        const float *values = arrays->values + of_values, *locations = arrays->locations + query * samples * 2;
        const float *weights = arrays->weights + query * samples;
#define FORWARD(V) forward_of_head(sizes, V, values, locations, weights, arrays->output + query * channels)
#define BACKWARD(V)                                                                                                    \
    backward_of_head(sizes, V, arrays->upstream + query * channels, values, locations, weights,                        \
                     arrays->to_values + of_values, arrays->to_locations + query * samples * 2,                        \
                     arrays->to_weights + query * samples)
        if (sizes->V == 4) /* constants, for which the loops over channels become straight code */
            backward ? BACKWARD(4) : FORWARD(4);
        else if (sizes->V == 2)
            backward ? BACKWARD(2) : FORWARD(2);
        else
            backward ? BACKWARD(sizes->V) : FORWARD(sizes->V);
    }
}

static void run_anywhere(const Sizes *sizes, const Arrays *arrays, Py_ssize_t first, Py_ssize_t last, int backward)
{
    run_inlined(sizes, arrays, first, last, backward);
}

#if defined(__x86_64__)
/* Without fused multiply-add: its rounding would be another one than elsewhere. */
__attribute__((target("avx2"))) static void run_with_avx2(const Sizes *sizes, const Arrays *arrays, Py_ssize_t first,
                                                          Py_ssize_t last, int backward)
{
    run_inlined(sizes, arrays, first, last, backward);
}

static int has_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}
#else
#define run_with_avx2 run_anywhere
#define has_avx2() 0
#endif

#define BUFFERS 8

/* Runs one pass if the arrays fit each other, and releases them. */
static PyObject *run_and_release(Py_buffer *buffers, Sizes *sizes, Py_ssize_t channels, Py_ssize_t first,
                                 Py_ssize_t last, int backward)
{
    Py_ssize_t cells = 0, queries = sizes->N * sizes->Q * sizes->M, samples = queries * sizes->L * sizes->P;
    Py_ssize_t of_values = sizes->N * sizes->S * sizes->M * channels;
    Py_ssize_t expected[] = {of_values, 2 * samples, samples, queries * channels, of_values, 2 * samples, samples};
    int fits = channels % LANES == 0 && channels <= MAX_VECTORS * LANES && 0 <= first && last <= sizes->N * sizes->M;
    fits = fits && buffers[7].len == sizes->L * (Py_ssize_t)sizeof(Level);
    for (int i = 0; i < (backward ? 7 : 4); i++)
        fits = fits && buffers[i].len == expected[i] * (Py_ssize_t)sizeof(float);
    sizes->levels = buffers[7].buf;
    for (Py_ssize_t l = 0; fits && l < sizes->L; l++) {
        fits = sizes->levels[l].first == cells;
        cells += sizes->levels[l].height * sizes->levels[l].width;
    }
    fits = fits && cells == sizes->S;
    if (fits) {
        sizes->V = channels / LANES;
        Arrays arrays = {buffers[0].buf, buffers[1].buf, buffers[2].buf, buffers[3].buf,
                         buffers[3].buf, buffers[4].buf, buffers[5].buf, buffers[6].buf};
        Py_BEGIN_ALLOW_THREADS
        (has_avx2() ? run_with_avx2 : run_anywhere)(sizes, &arrays, first, last, backward);
        Py_END_ALLOW_THREADS
    }
    for (int i = 0; i < BUFFERS; i++)
        PyBuffer_Release(&buffers[i]);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "the arrays do not fit each other");
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *forward(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer b[BUFFERS] = {0};
    Sizes s;
    Py_ssize_t channels, first, last;
    if (!PyArg_ParseTuple(arguments, "y*y*y*w*y*(nnnnnnn)nn", &b[0], &b[1], &b[2], &b[3], &b[7], &s.N, &s.S, &s.Q, &s.M,
                          &s.L, &s.P, &channels, &first, &last))
        return NULL;
    return run_and_release(b, &s, channels, first, last, 0);
}

static PyObject *backward(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer b[BUFFERS] = {0};
    Sizes s;
    Py_ssize_t channels, first, last;
    if (!PyArg_ParseTuple(arguments, "y*y*y*y*w*w*w*y*(nnnnnnn)nn", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &b[6],
                          &b[7], &s.N, &s.S, &s.Q, &s.M, &s.L, &s.P, &channels, &first, &last))
        return NULL;
    return run_and_release(b, &s, channels, first, last, 1);
}

static PyMethodDef methods[] = {
    {"forward", forward, METH_VARARGS, "forward(values, locations, weights, output, levels, sizes, first, last)"},
    {"backward", backward, METH_VARARGS,
     "backward(values, locations, weights, upstream, to_values, to_locations, to_weights, levels, sizes, first, last)"},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_sampling", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__sampling(void)
{
    return PyModuleDef_Init(&definition);
}

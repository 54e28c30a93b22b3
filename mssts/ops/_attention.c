/* Attention over few tokens on a CPU. PyTorch's fused kernel multiplies tiny matrices one by one, several times slower.
 *
 * The installation compiles this if there is GCC or Clang. The letters of shapes are those of compiled_attention.py.
 * Vectors of four run on every processor alike, and without fused multiply-add.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>

#if !defined(__GNUC__)
#error "Vectors of GCC and Clang are needed. Without them PyTorch attends."
#endif

#define LANES 4
#define MOST_SCORES 64
typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* The rows of one head, at a distance of so many values. */
typedef struct {
    float *first;
    Py_ssize_t stride;
} Rows;

typedef struct {
    Py_ssize_t Q, K, D;
    float scale;
} Sizes;

static float dot(const float *left, const float *right, Py_ssize_t D)
{
    Lanes lanes = {0};
    Py_ssize_t d = 0;
    for (; d + LANES <= D; d += LANES)
        lanes += *(const Lanes *)(left + d) * *(const Lanes *)(right + d);
    float sum = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
    for (; d < D; d++)
        sum += left[d] * right[d];
    return sum;
}

/* The sum of some rows, each times its share. */
static void mix(float *output, const float *shares, Py_ssize_t stride, Rows rows, Py_ssize_t count, Py_ssize_t D)
{
    Py_ssize_t d = 0;
    for (; d + LANES <= D; d += LANES) {
        Lanes sum = {0};
        for (Py_ssize_t i = 0; i < count; i++)
            sum += shares[i * stride] * *(const Lanes *)(rows.first + i * rows.stride + d);
        *(Lanes *)(output + d) = sum;
    }
    for (; d < D; d++) {
        float sum = 0;
        for (Py_ssize_t i = 0; i < count; i++)
            sum += shares[i * stride] * rows.first[i * rows.stride + d];
        output[d] = sum;
    }
}

static void mix_all(Rows outputs, Py_ssize_t outputs_count, const float *shares, Py_ssize_t across, Py_ssize_t along,
                    Rows rows, Py_ssize_t count, Py_ssize_t D)
{
    for (Py_ssize_t i = 0; i < outputs_count; i++)
        mix(outputs.first + i * outputs.stride, shares + i * across, along, rows, count, D);
}

/* The arrays of a pass, in the order of its arguments; those from number 5 on, and keys and values, are of keys. */
#define IS_OF_KEYS(i) ((i) == 1 || (i) == 2 || (i) > 4)

static void forward_of_head(const Sizes *sizes, const Rows *arrays, float *weights)
{
    Rows queries = arrays[0], keys = arrays[1], values = arrays[2], outputs = arrays[3];
    for (Py_ssize_t q = 0; q < sizes->Q; q++) {
        float *of_query = weights + q * sizes->K, most = -INFINITY, sum = 0;
        for (Py_ssize_t k = 0; k < sizes->K; k++) {
            float product = dot(queries.first + q * queries.stride, keys.first + k * keys.stride, sizes->D);
            of_query[k] = sizes->scale * product;
            most = of_query[k] > most ? of_query[k] : most;
        }
        for (Py_ssize_t k = 0; k < sizes->K; k++)
            sum += of_query[k] = expf(of_query[k] - most);
        for (Py_ssize_t k = 0; k < sizes->K; k++)
            of_query[k] /= sum;
    }
    mix_all(outputs, sizes->Q, weights, sizes->K, 1, values, sizes->K, sizes->D);
}

static void backward_of_head(const Sizes *sizes, const Rows *arrays, const float *weights)
{
    Rows queries = arrays[0], keys = arrays[1], values = arrays[2], upstream = arrays[3];
    Py_ssize_t Q = sizes->Q, K = sizes->K, D = sizes->D;
    float to_scores[MOST_SCORES];
    for (Py_ssize_t q = 0; q < Q; q++) {
        const float *of_query = weights + q * K;
        float *to_query = to_scores + q * K, mean = 0;
        for (Py_ssize_t k = 0; k < K; k++) {
            to_query[k] = dot(upstream.first + q * upstream.stride, values.first + k * values.stride, D);
            mean += of_query[k] * to_query[k];
        }
        for (Py_ssize_t k = 0; k < K; k++)
            to_query[k] = sizes->scale * of_query[k] * (to_query[k] - mean);
    }
    mix_all(arrays[4], Q, to_scores, K, 1, keys, K, D);
    mix_all(arrays[5], K, to_scores, 1, K, queries, Q, D);
    mix_all(arrays[6], K, weights, 1, K, upstream, Q, D);
}

#define MOST_ARRAYS 7

/* Passes the heads from `first` to before `last`, of F*M. */
static PyObject *run_checked(const Py_buffer *arrays, int count, const Py_buffer *weights, Py_ssize_t first,
                             Py_ssize_t last)
{
    const Py_ssize_t *shape = weights->shape, value = sizeof(float);
    int fits = weights->ndim == 4 && weights->itemsize == value && PyBuffer_IsContiguous(weights, 'C') &&
               shape[2] * shape[3] <= MOST_SCORES && 0 <= first && last <= shape[0] * shape[1];
    for (int i = 0; fits && i < count; i++) {
        const Py_ssize_t *of_array = arrays[i].shape, rows = shape[IS_OF_KEYS(i) ? 3 : 2];
        fits = arrays[i].ndim == 4 && arrays[i].itemsize == value &&
               (arrays[i].strides[3] == value || of_array[3] == 1) &&
               of_array[0] == shape[0] && of_array[1] == shape[1] && of_array[2] == rows &&
               of_array[3] == arrays->shape[3];
    }
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "the arrays do not fit each other");
        return NULL;
    }
    Sizes sizes = {shape[2], shape[3], arrays->shape[3], 1 / sqrtf((float)arrays->shape[3])};
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t head = first; head < last; head++) {
        float *of_head = (float *)weights->buf + head * sizes.Q * sizes.K;
        Rows rows[MOST_ARRAYS];
        for (int i = 0; i < count; i++) {
            const Py_ssize_t *strides = arrays[i].strides;
            Py_ssize_t offset = head / shape[1] * strides[0] + head % shape[1] * strides[1];
            rows[i] = (Rows){(float *)((char *)arrays[i].buf + offset), strides[2] / value};
        }
        count == MOST_ARRAYS ? backward_of_head(&sizes, rows, of_head) : forward_of_head(&sizes, rows, of_head);
    }
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *run(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer b[MOST_ARRAYS + 1] = {0};
    PyObject *objects[MOST_ARRAYS + 1] = {0}, *result = NULL;
    Py_ssize_t first, last;
    int count = (int)PyTuple_Size(arguments) - 3, filled = 0;
    if (!PyArg_ParseTuple(arguments, count == 4 ? "nnOOOOO" : "nnOOOOOOOO", &first, &last, objects, objects + 1,
                          objects + 2, objects + 3, objects + 4, objects + 5, objects + 6, objects + 7))
        return NULL;
    while (filled <= count && !PyObject_GetBuffer(objects[filled], &b[filled], PyBUF_STRIDED))
        filled++;
    if (filled > count)
        result = run_checked(b, count, &b[count], first, last);
    while (filled)
        PyBuffer_Release(&b[--filled]);
    return result;
}

static PyMethodDef methods[] = {
    {"forward", run, METH_VARARGS, "forward(first, last, queries, keys, values, output, weights)"},
    {"backward", run, METH_VARARGS,
     "backward(first, last, queries, keys, values, upstream, to_queries, to_keys, to_values, weights)"},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_attention", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__attention(void)
{
    return PyModuleDef_Init(&definition);
}

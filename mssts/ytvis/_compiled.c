/* Reads the masks of one object over a video, as the numpy code of masks.py does, but several times faster.
 *
 * The installation compiles this if there is a C compiler. What is not accepted here is read again by the numpy code,
 * which also gives the message.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

#if SIZE_MAX < UINT64_MAX
#error "Sizes are computed in 64 bits: elsewhere masks are read with numpy."
#endif

#define REFUSED (-1)
#define NO_MEMORY (-2)
#define INVALID (INT64_MIN / 2) /* negative, and stays so when a run is added */

/* Rows from top to before bottom of one column of one frame. */
typedef struct {
    int32_t frame, column, top, bottom;
} Interval;

typedef struct {
    int64_t height, width;
} Frame;

/* Intervals of all frames in ascending order, the columns that they touch, and how many follow another in a column. */
typedef struct {
    Interval *items;
    Py_ssize_t count, capacity, left, right, others;
} Intervals;

/* A number of a compressed string: little-endian base-32 two's complement, 48 added to each digit, of at most six. */
static inline int64_t compressed_number(const char **at, const char *end)
{
    int64_t value = 0;
    for (int shift = 0; shift < 30 && *at < end; shift += 5) {
        const unsigned digit = (unsigned char)*(*at)++ - 48u;
        if (digit > 63)
            return INVALID;
        value |= (int64_t)(digit & 31) << shift;
        if (digit < 32)
            return value - ((int64_t)(digit & 16) << (shift + 1)); /* without a branch: the sign cannot be predicted */
    }
    return INVALID;
}

/* A number of a text like "[1, 2", with the mark before it; reading stops at more than the pixels of a frame. */
static inline int64_t plain_number(const char **at, const char *end, char mark, int64_t pixels)
{
    const char *next = *at;
    int64_t value = 0;
    if (*next != mark)
        return INVALID;
    do
        next++;
    while (next < end && *next == ' ');
    if (next == end || *next < '0' || *next > '9')
        return INVALID;
    for (; next < end && *next >= '0' && *next <= '9' && value <= pixels; next++)
        value = 10 * value + (*next - '0');
    while (next < end && *next == ' ')
        next++;
    *at = next;
    return value;
}

/* Adds the intervals of a mask; returns its area, REFUSED if its text is not accepted, or NO_MEMORY. */
static int64_t read_mask(Intervals *list, const Py_buffer *text, int plain, int32_t frame, Frame size)
{
    /* Each run of ones ends one interval, and each border of two columns at most one more. */
    const Py_ssize_t needed = list->count + text->len / 2 + size.width;
    if (needed > list->capacity) {
        Interval *items = PyMem_Realloc(list->items, 2 * needed * sizeof(Interval));
        if (!items)
            return NO_MEMORY;
        list->items = items;
        list->capacity = 2 * needed;
    }
    const char *at = text->buf, *const end = at + text->len;
    const int64_t height = size.height, pixels = height * size.width;
    int64_t zeros = 0, ones = 0, position = 0, column = 0, begin = 0, area = 0;
    Interval *const first = list->items + list->count, *next = first;
    for (int64_t pair = 0; at < end; pair++) {
        /* From the second pair on, a compressed string has differences to the pair before, but for the second zeros. */
        const int64_t zeros_before = plain || pair < 2 ? 0 : zeros, ones_before = plain || pair < 1 ? 0 : ones;
        zeros = zeros_before + (plain ? plain_number(&at, end, pair ? ',' : '[', pixels) : compressed_number(&at, end));
        if (zeros < 0 || zeros > pixels - position)
            return REFUSED;
        position += zeros;
        if (at == end)
            break;
        ones = ones_before + (plain ? plain_number(&at, end, ',', pixels) : compressed_number(&at, end));
        if (ones < 0 || ones > pixels - position)
            return REFUSED;
        if (!ones)
            continue;
        area += ones;
        const int64_t stop = position + ones;
        if (position >= begin + height) {
            column = position < begin + 2 * height ? column + 1 : position / height;
            begin = column * height;
        } else {
            list->others += next > first;
        }
        for (; stop > begin + height; column++, begin += height, position = begin)
            *next++ = (Interval){frame, (int32_t)column, (int32_t)(position - begin), (int32_t)height};
        *next++ = (Interval){frame, (int32_t)column, (int32_t)(position - begin), (int32_t)(stop - begin)};
        position = stop;
    }
    if (position != pixels)
        return REFUSED;
    if (next > first) {
        list->left = first->column < list->left ? first->column : list->left;
        list->right = column >= list->right ? column + 1 : list->right;
    }
    list->count = next - list->items;
    return area;
}

/* The first interval of each column to tops and bottoms of the columns from left on, all others to extra. */
#define SPREAD(TYPE)                                                                                                   \
    do {                                                                                                               \
        TYPE *tops = (TYPE *)rows, *bottoms = tops + frames * columns;                                                 \
        for (const Interval *one = list->items; one < list->items + list->count; one++) {                              \
            const Py_ssize_t place = one->frame * columns + one->column - list->left;                                  \
            if (!bottoms[place]) {                                                                                     \
                tops[place] = (TYPE)one->top;                                                                          \
                bottoms[place] = (TYPE)one->bottom;                                                                    \
                continue;                                                                                              \
            }                                                                                                          \
            extra[0 * others + next] = one->frame;                                                                     \
            extra[1 * others + next] = one->column;                                                                    \
            extra[2 * others + next] = one->top;                                                                       \
            extra[3 * others + next++] = one->bottom;                                                                  \
        }                                                                                                              \
    } while (0)

/* What read_track returns. */
static PyObject *as_arrays(const Intervals *list, PyObject *areas, PyObject *present, Py_ssize_t frames, int row_bytes)
{
    const Py_ssize_t columns = list->right - list->left, others = list->others;
    const Py_ssize_t bytes = 2 * frames * columns * row_bytes;
    Py_ssize_t next = 0;
    PyObject *rows_object = PyBytes_FromStringAndSize(NULL, bytes);
    PyObject *extra_object = PyBytes_FromStringAndSize(NULL, 4 * others * sizeof(int32_t));
    if (!rows_object || !extra_object) {
        Py_XDECREF(rows_object);
        Py_XDECREF(extra_object);
        return NULL;
    }
    char *rows = memset(PyBytes_AS_STRING(rows_object), 0, bytes);
    int32_t *extra = (int32_t *)PyBytes_AS_STRING(extra_object);
    if (row_bytes == sizeof(int16_t))
        SPREAD(int16_t);
    else
        SPREAD(int32_t);
    return Py_BuildValue("(OOnNN)", areas, present, list->left, rows_object, extra_object);
}

/* Whether a mask is an object of this size with counts as text, which the view then holds; sets no exception. */
static int text_of(PyObject *mask, Frame size, Py_buffer *text, int *plain)
{
    if (!PyDict_Check(mask))
        return 0;
    PyObject *named = PyDict_GetItemString(mask, "size"), *counts = PyDict_GetItemString(mask, "counts");
    if (!named || !counts || !(PyList_Check(named) || PyTuple_Check(named)) || PySequence_Fast_GET_SIZE(named) != 2)
        return 0;
    PyObject **sides = PySequence_Fast_ITEMS(named);
    int overflow[2];
    if (!PyLong_Check(sides[0]) || PyLong_AsLongLongAndOverflow(sides[0], &overflow[0]) != size.height ||
        !PyLong_Check(sides[1]) || PyLong_AsLongLongAndOverflow(sides[1], &overflow[1]) != size.width)
        return 0;
    *plain = PyMemoryView_Check(counts);
    if (PyUnicode_Check(counts)) {
        text->obj = NULL;
        text->buf = (void *)PyUnicode_AsUTF8AndSize(counts, &text->len);
    } else if (!(*plain || PyBytes_Check(counts)) || PyObject_GetBuffer(counts, text, PyBUF_SIMPLE) < 0) {
        text->buf = NULL;
    }
    PyErr_Clear(); /* half of a pair of surrogates, or a view with gaps */
    return text->buf != NULL;
}

PyDoc_STRVAR(read_track_doc,
             "read_track(frames, height, width, row_bytes)\n--\n\n"
             "Read the masks of one object: areas_T, present_T, left, (top_TX, bottom_TX) and extra_4N of\n"
             "`masks.TrackMasks`, arrays as bytes.\n\n"
             "frames: sequence with a run-length mask or None for each frame. row_bytes: 2 or 4, the size of a row.\n"
             "Returns None if there is a mask that is not of height x width pixels, or whose plain runs are not text.");

static PyObject *read_track(PyObject *module, PyObject *arguments)
{
    PyObject *given;
    Py_ssize_t height, width;
    int row_bytes;
    if (!PyArg_ParseTuple(arguments, "Onni", &given, &height, &width, &row_bytes))
        return NULL;
    if (height <= 0 || width <= 0 || height > INT32_MAX / width)
        Py_RETURN_NONE;
    PyObject *masks = PySequence_Fast(given, "frames: expected a sequence");
    if (!masks)
        return NULL;
    const Frame size = {height, width};
    const Py_ssize_t frames = PySequence_Fast_GET_SIZE(masks);
    PyObject *areas = PyBytes_FromStringAndSize(NULL, frames * sizeof(double)), *result = NULL;
    PyObject *present = PyBytes_FromStringAndSize(NULL, frames);
    Intervals list = {NULL, 0, 0, width, 0, 0};
    if (!areas || !present)
        goto done;
    for (Py_ssize_t frame = 0; frame < frames; frame++) {
        PyObject *mask = PySequence_Fast_GET_ITEM(masks, frame);
        int64_t area = 0;
        if (mask != Py_None) {
            Py_buffer text;
            int plain;
            area = REFUSED;
            if (text_of(mask, size, &text, &plain)) {
                area = read_mask(&list, &text, plain, (int32_t)frame, size);
                PyBuffer_Release(&text);
            }
        }
        if (area < 0) {
            result = area == REFUSED ? Py_NewRef(Py_None) : PyErr_NoMemory();
            goto done;
        }
        PyBytes_AS_STRING(present)[frame] = mask != Py_None;
        ((double *)PyBytes_AS_STRING(areas))[frame] = (double)area;
    }
    if (!list.count)
        list.left = 0;
    result = as_arrays(&list, areas, present, frames, row_bytes);
done:
    PyMem_Free(list.items);
    Py_XDECREF(areas);
    Py_XDECREF(present);
    Py_DECREF(masks);
    return result;
}

static PyMethodDef methods[] = {{"read_track", read_track, METH_VARARGS, read_track_doc}, {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_compiled", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__compiled(void)
{
    return PyModuleDef_Init(&definition);
}

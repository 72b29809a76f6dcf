/* Async generators: values that are made while you wait for them.
 *
 * A generator is an async function that hands over its values with iora_emit(). It runs only while
 * its consumer waits for the next one, so nothing is fetched that nobody asked for. Leaving the loop
 * early closes the generator, and its cleanup, which may suspend, is waited for.
 */
#include <iora.h>
#include <stdio.h>

static int countdown(int *out, int from)
{
    int rc = 0;

    for (int i = from; i > 0 && rc == 0; i--) {
        rc = iora_sleep(iora_ms(10));
        if (rc == 0)
            rc = iora_emit(out, i);
    }
    return rc;
}
IORA_ASYNC(countdown, int *, int);

/* A source that answers in pages, each of which says which one comes next (0: none). */
struct page {
    const char *cities[2];
    int next;
};

static int fetch_page(int number, struct page *page)
{
    static const struct page pages[] = {
        {{"Aachen", "Bergen"}, 2},
        {{"Cork", "Delft"}, 3},
        {{"Evora", "Funchal"}, 0},
    };

    printf("  (page %d is fetched)\n", number);
    int rc = iora_sleep(iora_ms(20));
    if (rc == 0)
        *page = pages[number - 1];
    return rc;
}

static int hang_up(void)
{
    int rc = iora_sleep(iora_ms(10));
    printf("  (the source is closed)\n");
    return rc;
}

/* The cities of all pages, one by one. */
static int cities(const char **city)
{
    struct page page = {{NULL, NULL}, 1};
    int rc = 0;

    while (page.next != 0 && rc == 0) {
        rc = fetch_page(page.next, &page);
        for (int i = 0; i < 2 && rc == 0; i++)
            rc = iora_emit(city, page.cities[i]);
    }
    (void)iora_cleanup(hang_up(), iora_ms(500));
    return rc;
}
IORA_ASYNC(cities, const char **);

static int amain(void)
{
    const char *city;
    int i;
    int rc;

    iora_for_each(rc, countdown, &i, 3)
        printf("%d\n", i);
    if (rc < 0)
        return rc;

    printf("All cities:\n");
    iora_for_each(rc, cities, &city)
        printf("  %s\n", city);
    if (rc < 0)
        return rc;

    printf("The first with a C:\n");
    iora_for_each(rc, cities, &city) {
        if (city[0] == 'C') {
            printf("  %s\n", city);
            break;
        }
    }
    printf("done\n");
    return rc < 0 ? rc : 0;
}
IORA_ASYNC(amain);

int main(void) { return iora_main(amain); }

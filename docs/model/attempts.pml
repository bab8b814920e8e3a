/*
 * The commit protocol of the attempt state, for one vault, checked exhaustively by spin.
 * README.md beside this file: what each action stands for, what is left out, how to run it.
 *
 *   -DLIMIT=n      attempts of the vault (2 to 7)
 *   -DCLAIMS=n     claims that are ever charged (at most 8)
 *   -DSNAPSHOTS    the attacker may keep a copy of the store from any moment, not the first day's only
 *   -DSEEDED_...   one mistake, which the checker must find
 *   -DONLY_LIMIT   check LIMIT_HOLDS and nothing else
 */

#ifndef LIMIT
#define LIMIT 2
#endif
#ifndef CLAIMS
#define CLAIMS 5
#endif

/* --- a counter, and the tree that holds it --------------------------------------------------
 *
 * A counter (hwkm.formats.counter.Counter) in one number. It is its tree's root at the same time:
 * equal numbers are equal contents, which is all that a hash without collisions says.
 *
 *   bits 0-7    charges: one bit a claim. Claims are numbered in the order of their charges,
 *               so a lower bit is an older charge
 *   bits 8-11   opened: number of the claim that opened the vault last, plus one; 0 if none
 *   bits 12-14  carried: attempts charged to blobs that were replaced since
 *   bit  15     blob: 0 the owner's; 1 the attacker's, under the same params and a PIN of his own
 */
#define EMPTY        0           /* no counter yet, and EMPTY_ROOT */
#define NOTHING      (-1)        /* no nodes */

#define BIT(c)          (1 << (c))
#define SET(m, c)       (((m) >> (c)) & 1)
#define SIZE(m)         (SET(m,0) + SET(m,1) + SET(m,2) + SET(m,3) + SET(m,4) + SET(m,5) + SET(m,6) + SET(m,7))

#define CHARGES(k)      ((k) & 255)
#define OPENED(k)       (((k) >> 8) & 15)
#define CARRIED(k)      (((k) >> 12) & 7)
#define BLOB(k)         (((k) >> 15) & 1)
#define COUNTER(blob, carried, opened, charges) \
                        (((blob) << 15) | ((carried) << 12) | ((opened) << 8) | (charges))

#define ATTEMPTS(k)     (CARRIED(k) + SIZE(CHARGES(k)))
#define KNOWS(k, c)     (SET(CHARGES(k), c) || OPENED(k) == (c) + 1)
#define ALL_KNOWN(k)    ((k) == NOTHING -> 0 : (CHARGES(k) | (BIT(OPENED(k)) >> 1)))

/* Counter.bound_to: a blob that replaced another inherits its attempts for good. */
#ifdef SEEDED_PLANTED_BLOB_CLEARS
#define BOUND(k, blob)  COUNTER(blob, CARRIED(k), OPENED(k), CHARGES(k))
#else
#define BOUND(k, blob)  (BLOB(k) == (blob) -> (k) : COUNTER(blob, ATTEMPTS(k), 0, 0))
#endif

/* Counter.charged */
#define CHARGED(k, c)   ((k) | BIT(c))

/* Counter.succeeded: the claim's charge and those before it are cleared, those after it stay. */
#ifdef SEEDED_REPLAY_CLEARS
#define SUCCEEDED(k, c) COUNTER(BLOB(k), CARRIED(k), (c) + 1, 0)
#define CLEARS(k, c)    true
#else
#define SUCCEEDED(k, c) COUNTER(BLOB(k), CARRIED(k), (c) + 1, CHARGES(k) & ~(BIT((c) + 1) - 1))
#define CLEARS(k, c)    SET(CHARGES(k), c)
#endif

/* Whether a success may be answered before its clear is durable: only if a crash in between costs
 * the claim's own charge and nothing else (README.md, "Clear first"). */
#ifdef SEEDED_CLEAR_AFTER_RELEASE
#define MAY_WAIT(k, c)  true
#else
#define MAY_WAIT(k, c)  ((k) == known && ATTEMPTS(k) - ATTEMPTS(SUCCEEDED(k, c)) <= 1 && ATTEMPTS(k) < LIMIT)
#endif

/* --- what is durable ------------------------------------------------------------------------ */

int anchor = EMPTY;              /* the root in the hardware */
int node_true = NOTHING;         /* nodes in the store: those of the state the core takes for true, */
int node_next = NOTHING;         /* and those of the state prepared next */

#define IS_STORED(root) ((root) == EMPTY || (root) == node_true || (root) == node_next)

/* --- what the attacker has ------------------------------------------------------------------ */

#ifdef SNAPSHOTS
int snapshot = EMPTY;            /* nodes of one state that was in the store, taken at any moment */
#else
#define snapshot EMPTY           /* the store as it was on the first day */
#endif
bool tampered = false;           /* what is in the store is his choice */
#ifdef SEEDED_HELD_WRITE
int held = NOTHING;              /* a write to the anchor that he keeps back */
#endif

/* --- claims, and what an observer of everything knows ---------------------------------------- */

byte claims = 0;                 /* number of claims so far */
byte right = 0;                  /* bit: the claim has the PIN of the blob it is for */
byte planted = 0;                /* bit: it is for the attacker's blob */
byte charged = 0;                /* bit: its charge was made durable, and known to be */
byte evaluated = 0;              /* bit: the vault was tried with it: from here its result can leave */
byte proven = 0;                 /* bit: the owner's success took effect: answered, or durably cleared */
byte since_success = 0;          /* wrong claims on the owner's blob evaluated since his last success */
byte told = 0;                   /* attempts used, as far as anybody was told */

/* The invariant: the knowledge-factor evaluations whose result can have left the trusted core
 * since the last proven success are never more than the limit. */
#define LIMIT_HOLDS     since_success <= LIMIT
#ifndef ONLY_LIMIT
#define CHARGED_ONCE    !SET(charged, c)            /* the same claim is not charged again */
#define NONE_COMES_BACK told <= ATTEMPTS(known)     /* no restart gives attempts back */
#define ONE_LOST        told + 1 >= ATTEMPTS(known) /* nor loses more than that of the claim in flight */
#define NO_FALSE_ALARM  accepted || tampered        /* and it is refused only to who touched the store */
#else
#define CHARGED_ONCE    true
#define NONE_COMES_BACK true
#define ONE_LOST        true
#define NO_FALSE_ALARM  true
#endif

/* Only the first effect of a right claim is a proof: a replay proves nothing new. */
inline success_takes_effect(k)
{
    if
    :: SET(right, c) && !SET(planted, c) && !SET(proven, c) ->
        since_success = 0;
        proven = proven | BIT(c)
    :: else
    fi;
    told = ATTEMPTS(k)
}

inline write_anchor()
{
    anchor = next;
    printf("anchor: attempts used %d, charges %d, opened %d\n", ATTEMPTS(next), CHARGES(next), OPENED(next));
    if
    :: doing == CLEARING -> success_takes_effect(next)
    :: else
    fi
}

/* Nothing depends any more on claims that nobody can present: let such states be one. */
inline forget_the_gone()
{
    gone = (BIT(claims) - 1) & ~(ALL_KNOWN(now) | ALL_KNOWN(known) | ALL_KNOWN(snapshot));
    right = right & ~gone;
    planted = planted & ~gone;
    proven = proven & ~gone;
    evaluated = evaluated | gone;
    charged = charged | gone;
    gone = 0
}

/* --- the trusted core ------------------------------------------------------------------------ */

mtype = { DOWN, RESTING, CHARGING, CLEARING, SETTLING, DECIDING };
mtype doing = DOWN;

active proctype core()
{
    int known;                   /* Ledger: the counter in the anchored state */
    int now;                     /* the same with deferred changes */
    int next;                    /* what is being committed */
    byte c;                      /* the claim being decided */
    byte gone;
    bool accepted;

restart:
    /* Ledger.__init__: the anchor says which root is true; storage has it, checked, or not. */
    atomic {
#if defined(SEEDED_NEWEST_NODES_TRUSTED)
        accepted = true;
        known = (node_next != NOTHING -> node_next : (node_true != NOTHING -> node_true : EMPTY));
#elif defined(SEEDED_OLD_ROOT_ACCEPTED)
        accepted = (IS_STORED(anchor) || node_true != NOTHING);
        known = (IS_STORED(anchor) -> anchor : node_true);
#else
        accepted = IS_STORED(anchor);
        known = anchor;
#endif
        assert(NO_FALSE_ALARM);
        if
        :: !accepted -> known = EMPTY; goto refused
        :: accepted
        fi;
        assert(NONE_COMES_BACK);
        assert(ONE_LOST);
        node_true = known; node_next = NOTHING; tampered = false;
        now = known; told = ATTEMPTS(known);
        printf("started; attempts used: %d\n", told)
    }

idle:
    atomic {
        c = 0; next = EMPTY; doing = RESTING;
        forget_the_gone()
    }
    if
    :: atomic {
        /* A new claim: its challenge was issued for its blob. VaultOpening._admit_to_counter
         * looks at nothing that depends on the guess. At the limit the answer is Locked. */
        claims < CLAIMS ->
        c = claims;
        if
        :: skip
        :: right = right | BIT(c)
        :: right = right | BIT(c); planted = planted | BIT(c)
        fi;
        next = BOUND(now, SET(planted, c));
        if
        :: ATTEMPTS(next) >= LIMIT -> right = right & ~BIT(c); planted = planted & ~BIT(c); goto idle
        :: else
        fi;
        assert(CHARGED_ONCE);
        claims++;
        next = CHARGED(next, c);
        printf("claim %d: right %d, planted %d\n", c, SET(right, c), SET(planted, c));
#ifdef SEEDED_OPTIMISTIC_CLEAR
        next = SUCCEEDED(next, c);
#endif
#ifdef SEEDED_CHARGE_AFTER_EVALUATION
        doing = DECIDING; goto evaluate
#else
        doing = CHARGING; goto commit
#endif
        }
    :: atomic {
        /* A claim presented again: free if its charge is known, else ChallengeRefused. */
        claims > 0 ->
        do
        :: c + 1 < claims -> c++
        :: break
        od;
        if
        :: !KNOWS(BOUND(now, SET(planted, c)), c) -> goto idle
        :: else
        fi;
#ifdef SEEDED_PAID_FORGOTTEN
        if
        :: ATTEMPTS(now) < LIMIT ->
            assert(CHARGED_ONCE);
            next = COUNTER(BLOB(now), CARRIED(now) + 1, OPENED(now), CHARGES(now));
            doing = CHARGING; goto commit
        :: else
        fi;
#endif
        doing = DECIDING; goto evaluate
        }
    :: atomic { now != known -> next = now; doing = SETTLING; goto commit } /* Service.settle */
    :: goto crash
    fi;

commit:
    /* Ledger.commit, first half. NodeStore.put stores the new nodes, and deletes those that the
     * commit before made obsolete: the nodes of the true state stay. */
    if
    :: atomic {
#ifdef SEEDED_OBSOLETE_DELETED_EARLY
        node_true = NOTHING;
#endif
        node_next = next
#ifdef SEEDED_RELEASE_BEFORE_ANCHOR
        ;
        if
        :: doing == CHARGING -> goto evaluate
        :: else
        fi
#endif
        }
    :: goto crash
    fi;

advance:
    /* Anchor.advance: the commit point. */
    if
    :: atomic { write_anchor(); goto applied }
    :: goto not_applied                                     /* TokenBusy, TokenFull */
    :: atomic { write_anchor(); goto crash }                /* AnchorUncertain: applied, */
    :: goto crash                                           /* or not */
#ifdef SEEDED_UNCERTAIN_IS_APPLIED
    :: goto applied
#endif
#ifdef SEEDED_UNCERTAIN_IS_REFUSED
    :: atomic { write_anchor(); goto not_applied }
#endif
#ifdef SEEDED_HELD_WRITE
    :: atomic { held = next; goto crash }                   /* kept back, to be let through later */
#endif
    fi;

applied:
    /* Ledger.commit, second half. The nodes of the old state are obsolete from here. */
    atomic {
        known = next; now = next; node_true = node_next; node_next = NOTHING;
        if
        :: doing == SETTLING -> goto idle
        :: doing == CLEARING -> goto answer
        :: doing == CHARGING -> charged = charged | BIT(c); doing = DECIDING
        fi
#if defined(SEEDED_RELEASE_BEFORE_ANCHOR)
        ;
        goto settle
#elif defined(SEEDED_CHARGE_AFTER_EVALUATION)
        ;
        goto idle
#endif
    }

evaluate:
    /* VaultOpening._evaluate: boxes.open_vault tries the vault; from here the result can leave. */
    if
    :: goto crash
    :: atomic {
        true ->                  /* or spin would take the else below for that of the outer if */
        if
        :: !SET(evaluated, c) && !SET(right, c) -> since_success++
        :: else
        fi;
        evaluated = evaluated | BIT(c);
        printf("claim %d evaluated; wrong ones since the last success: %d\n", c, since_success);
        assert(LIMIT_HOLDS)
#ifdef SEEDED_CHARGE_AFTER_EVALUATION
        ;
        if
        :: !SET(right, c) && !KNOWS(now, c) -> doing = CHARGING; goto commit
        :: else
        fi
#endif
#ifdef SEEDED_RELEASE_BEFORE_ANCHOR
        ;
        if
        :: doing == CHARGING -> goto advance
        :: else
        fi
#endif
        }
    fi;

settle:
    /* A hardware fault (Faulted) ends the process too. */
    if
    :: goto crash
    :: atomic {
        if
        :: !SET(right, c) -> goto answer                    /* _settle_wrong: the charge stays */
        :: SET(right, c) && !CLEARS(now, c) -> goto answer  /* it opened the vault before */
        :: SET(right, c) && CLEARS(now, c) -> next = SUCCEEDED(now, c)
        fi;
        if
        :: MAY_WAIT(now, c) -> now = next                   /* Ledger.defer */
        :: else -> doing = CLEARING; goto commit
        fi }
    fi;

answer:
    atomic {
        printf("claim %d answered; attempts used: %d\n", c, ATTEMPTS(now));
        success_takes_effect(now);
        goto idle
    }

not_applied:
    /* The state is as before and the claim gets no verdict; not charged, its challenge lives. */
    atomic {
        node_next = NOTHING;                                /* the next put deletes them */
        told = ATTEMPTS(now);
        if
        :: doing == CHARGING && c + 1 == claims && !SET(evaluated, c) ->
            claims--;
            right = right & ~BIT(c);
            planted = planted & ~BIT(c)
        :: else
        fi;
        goto idle
    }

crash:
    /* Everything that was not durable is gone. */
    atomic { printf("crash\n"); known = EMPTY; now = EMPTY; next = EMPTY; c = 0; doing = DOWN }
    goto restart;

refused:
    /* StorageMismatch: no vault is opened. The attacker may put back what he took. */
    doing = DOWN;
end_refused:
    IS_STORED(anchor) -> goto restart
}

/* --- the attacker on the untrusted side ------------------------------------------------------ */

active proctype attacker()
{
end:
    do
#ifdef SNAPSHOTS
    :: atomic { snapshot == EMPTY && node_true > EMPTY -> snapshot = node_true }
    :: atomic { snapshot == EMPTY && node_next > EMPTY -> snapshot = node_next }
#endif
    /* Roll back, replace, or delete everything. The core reads its store when it starts. */
    :: atomic { doing == DOWN && node_true != snapshot ->
        printf("store replaced; attempts used there: %d\n", ATTEMPTS(snapshot));
        node_true = snapshot; node_next = NOTHING; tampered = true }
#ifdef SEEDED_HELD_WRITE
    :: atomic { held != NOTHING ->
        anchor = held; held = NOTHING;
        printf("held write lands; attempts used: %d\n", ATTEMPTS(anchor)) }
#endif
    od
}

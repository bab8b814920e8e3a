/*
 * A PKCS#11 library that passes every call on to a real one, as the board beside it says.
 *
 * Configuration needs no environment: for a shim at PATH the board is PATH.board, and the real
 * library is named on the board.
 *
 * CK_FUNCTION_LIST (PKCS#11 v2.40, 5.1) is a version and 68 function pointers in a fixed order.
 * All arguments are integers or pointers of at most the size of a long, so one wrapper a number of
 * arguments serves all.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>

#include "board.h"

typedef unsigned long word;

#define CKR_ARGUMENTS_BAD 0x07UL
#define CKR_GENERAL_ERROR 0x05UL

/* name and number of arguments, in the order of CK_FUNCTION_LIST */
#define FUNCTIONS(X)                                                                                   \
    X(C_Initialize, 1) X(C_Finalize, 1) X(C_GetInfo, 1) X(C_GetFunctionList, 1) X(C_GetSlotList, 3)     \
    X(C_GetSlotInfo, 2) X(C_GetTokenInfo, 2) X(C_GetMechanismList, 3) X(C_GetMechanismInfo, 3)          \
    X(C_InitToken, 4) X(C_InitPIN, 3) X(C_SetPIN, 5) X(C_OpenSession, 5) X(C_CloseSession, 1)           \
    X(C_CloseAllSessions, 1) X(C_GetSessionInfo, 2) X(C_GetOperationState, 3)                           \
    X(C_SetOperationState, 5) X(C_Login, 4) X(C_Logout, 1) X(C_CreateObject, 4) X(C_CopyObject, 5)      \
    X(C_DestroyObject, 2) X(C_GetObjectSize, 3) X(C_GetAttributeValue, 4) X(C_SetAttributeValue, 4)     \
    X(C_FindObjectsInit, 3) X(C_FindObjects, 4) X(C_FindObjectsFinal, 1) X(C_EncryptInit, 3)            \
    X(C_Encrypt, 5) X(C_EncryptUpdate, 5) X(C_EncryptFinal, 3) X(C_DecryptInit, 3) X(C_Decrypt, 5)      \
    X(C_DecryptUpdate, 5) X(C_DecryptFinal, 3) X(C_DigestInit, 2) X(C_Digest, 5) X(C_DigestUpdate, 3)   \
    X(C_DigestKey, 2) X(C_DigestFinal, 3) X(C_SignInit, 3) X(C_Sign, 5) X(C_SignUpdate, 3)              \
    X(C_SignFinal, 3) X(C_SignRecoverInit, 3) X(C_SignRecover, 5) X(C_VerifyInit, 3) X(C_Verify, 5)     \
    X(C_VerifyUpdate, 3) X(C_VerifyFinal, 3) X(C_VerifyRecoverInit, 3) X(C_VerifyRecover, 5)            \
    X(C_DigestEncryptUpdate, 5) X(C_DecryptDigestUpdate, 5) X(C_SignEncryptUpdate, 5)                   \
    X(C_DecryptVerifyUpdate, 5) X(C_GenerateKey, 5) X(C_GenerateKeyPair, 8) X(C_WrapKey, 6)             \
    X(C_UnwrapKey, 8) X(C_DeriveKey, 6) X(C_SeedRandom, 3) X(C_GenerateRandom, 3)                       \
    X(C_GetFunctionStatus, 1) X(C_CancelFunction, 1) X(C_WaitForSlotEvent, 3)

#define TAKE_1 word a
#define TAKE_2 TAKE_1, word b
#define TAKE_3 TAKE_2, word c
#define TAKE_4 TAKE_3, word d
#define TAKE_5 TAKE_4, word e
#define TAKE_6 TAKE_5, word f
#define TAKE_7 TAKE_6, word g
#define TAKE_8 TAKE_7, word h
#define GIVE_1 a
#define GIVE_2 GIVE_1, b
#define GIVE_3 GIVE_2, c
#define GIVE_4 GIVE_3, d
#define GIVE_5 GIVE_4, e
#define GIVE_6 GIVE_5, f
#define GIVE_7 GIVE_6, g
#define GIVE_8 GIVE_7, h

#define FIELD(name, count) word (*name)(TAKE_##count);
struct function_list {
    unsigned char major, minor;
    FUNCTIONS(FIELD)
};

static struct board *board;
static struct function_list *real;

#define WRAPPER(name, count)                                                                           \
    static word shim_##name(TAKE_##count)                                                              \
    {                                                                                                  \
        struct board_order order = board_enter(board, "pkcs11." #name);                                \
        if (order.act == BOARD_REFUSE)                                                                 \
            return order.code;                                                                         \
        word result = real->name(GIVE_##count);                                                        \
        board_leave(order);                                                                            \
        return order.act == BOARD_LIE ? order.code : result;                                           \
    }
FUNCTIONS(WRAPPER)

static struct function_list shim;

static int load(void)
{
    Dl_info self;
    char path[PATH_MAX];
    if (!dladdr((void *)load, &self))
        return 0;
    snprintf(path, sizeof path, "%s.board", self.dli_fname);
    board = board_open(path);
    void *library = dlopen(board->module, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return 0;
    word (*get)(struct function_list **) = (word(*)(struct function_list **))dlsym(library, "C_GetFunctionList");
    return get && get(&real) == 0;
}

__attribute__((visibility("default"))) word C_GetFunctionList(struct function_list **list)
{
    if (!list)
        return CKR_ARGUMENTS_BAD;
    if (!real && !load())
        return CKR_GENERAL_ERROR;
    shim.major = real->major;
    shim.minor = real->minor;
#define FILL(name, count) shim.name = shim_##name;
    FUNCTIONS(FILL)
    shim.C_GetFunctionList = (word(*)(word))(void *)C_GetFunctionList;
    *list = &shim;
    return 0;
}
